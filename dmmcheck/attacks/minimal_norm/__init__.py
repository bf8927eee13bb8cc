"""The built-in search for the smallest perturbation that changes the label; each method is a file."""
