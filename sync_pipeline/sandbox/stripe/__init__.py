"""Stand-in for the part of Stripe's API that lists customers."""
