"""Models by name: ``mlp``, ``cnn``, any of torchvision.models, and the user's own."""
