"""Data sets by name: those of torchvision, and scikit-learn's digits."""
