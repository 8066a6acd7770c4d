"""Online features: the compiled read plan and its stores."""
