"""What is measured of a subject: distances, gradients, and the same under null models."""
