"""Charts of the console as numbers: where lines and bars stand. `templates/drawing.html.j2` draws them as SVG."""
