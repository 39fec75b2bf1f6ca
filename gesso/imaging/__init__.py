"""Pictures as bytes: untrusted bytes in (safe fetch, safe decode), PNG, JPEG and WebP with their parameters out."""
