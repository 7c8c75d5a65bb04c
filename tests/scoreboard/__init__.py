"""Real small networks, healthy and failing, for the rules to be judged on."""
