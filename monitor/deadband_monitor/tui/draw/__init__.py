"""Pure drawing: values in, rows of cells out."""
