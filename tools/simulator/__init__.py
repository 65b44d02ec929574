"""AWS and the traffic on it, in simulated time: an account to run the real handlers against."""
