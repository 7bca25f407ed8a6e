"""Models by name: networks of our own, any of torchvision.models, and the user's own."""
