"""What a bundle declares about its rules: its rules.yaml, and the field `rules` of its manifest."""
