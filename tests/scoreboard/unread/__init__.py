"""The fifth exam: everyday scripts (`daily`) and less usual ones (`odd`), by two writers."""
