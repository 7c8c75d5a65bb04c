"""Where a viewer reads a run from: live here, live elsewhere, or a recording."""
