"""Model kinds by features: trained as without deadband, and seen as a plain slow look sees them."""
