"""Champion against challenger: the newest labels, the kept test rows, each attack family, attack types that neither has seen."""
