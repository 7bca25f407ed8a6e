"""``sweeper verify``: finished trials trained again, alone, beside what is recorded of them."""
