"""What the rules and use cases need from outside, as protocols that adapters fulfil."""
