"""Errors about a model bundle. Each text says what is wrong, where, and what to do next."""


class BundleError(Exception):
    """The bundle must not be served."""


class BundleMembersError(BundleError):
    """A member is missing, or a file does not belong to a bundle."""


class BundleDigestError(BundleError):
    """A member's bytes differ from the manifest, or the manifest is not the expected one."""


class BundleVersionError(BundleError):
    """This code does not support the bundle's schema version, label set or feature list."""


class BundleContentError(BundleError):
    """A member cannot be read although its digest is right, so other code must have written it."""
