"""What Lambda calls: each module turns one kind of event into one pass over some targets."""
