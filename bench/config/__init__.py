"""TOML cards: loaded, validated and overridden."""
