"""Pictures of the rooms of the code, made from its imports, and the pages of docs/architecture that show them."""
