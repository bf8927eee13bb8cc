"""Examples that can be run; the tests run them.

The folder is a package, so that Python does not import another folder of the same name.
"""
