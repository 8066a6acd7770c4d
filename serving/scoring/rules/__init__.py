"""What a bundle's rules do to a group's verdicts: answer in the model's place (`fallback`), or raise what it says (`raising`)."""
