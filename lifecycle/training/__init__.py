"""From a detector's declaration and its data to a bundle."""
