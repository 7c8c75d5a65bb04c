"""The first exam: networks, data and optimisers of somebody who had not read the rules."""
