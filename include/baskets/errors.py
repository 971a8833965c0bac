"""Errors about a model bundle: each text says what is wrong, where, and what to do."""


class BundleError(Exception):
    """A bundle that must not be served."""


class BundleMembersError(BundleError):
    """A member is missing, or there is one that does not belong."""


class BundleDigestError(BundleError):
    """A member's bytes are not those that the manifest names, or the manifest is not the expected one."""


class BundleVersionError(BundleError):
    """A schema version, label set or feature list that this code does not know."""


class BundleContentError(BundleError):
    """A member that cannot be read although its digest is right: it was written by something else."""
