"""`vedette registry`: where bundles come from, who promoted them, who signed them."""
