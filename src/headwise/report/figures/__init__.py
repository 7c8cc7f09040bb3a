"""Figures, one a file. Each takes plain numbers and gives SVG or HTML that follows the page's theme."""
