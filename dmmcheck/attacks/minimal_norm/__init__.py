"""The built-in search for the smallest perturbation, one method a file."""
