"""What every endpoint needs: routes, typed bodies, authentication, limits, errors, and the server itself."""
