"""Where key is kept at one end, from staging to handing out."""
