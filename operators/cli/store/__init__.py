"""`vedette store`: the layout of a store folder, and its migration."""
