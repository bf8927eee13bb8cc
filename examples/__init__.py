"""Runnable examples, executed by the tests.

A package, so that no other folder called examples can stand in its way.
"""
