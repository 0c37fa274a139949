//! The operations in S3, with texts for the operator who has to grant the rights.

use opendal::ErrorKind;

use super::super::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Write,
    Read,
    List,
    ListVersions,
    ListUploads,
    Delete,
    Abort,
    Lock,
}

impl Act {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Write => "write an object (s3:PutObject)",
            Self::Read => "read an object (s3:GetObject)",
            Self::List => "list objects (s3:ListBucket)",
            Self::ListVersions => "list the versions of an object (s3:ListBucketVersions)",
            Self::ListUploads => "list unfinished uploads (s3:ListBucketMultipartUploads)",
            Self::Delete => "delete a version of an object (s3:DeleteObjectVersion)",
            Self::Abort => "abort an unfinished upload (s3:AbortMultipartUpload)",
            Self::Lock => "tell of the bucket's object lock (s3:GetBucketObjectLockConfiguration)",
        }
    }

    /// The error if S3 denies the access key this operation.
    pub(super) fn refused(self) -> Error {
        match self {
            Self::ListVersions | Self::ListUploads | Self::Delete | Self::Abort => {
                Error::PurgeRefused(self.words())
            }
            Self::Write | Self::Read | Self::List | Self::Lock => Error::Refused(self.words()),
        }
    }

    /// The error that `error` means. Its text is dropped, because it contains S3's response.
    pub(super) fn failed(self, error: &opendal::Error) -> Error {
        match error.kind() {
            // S3 sends it as a denied permission.
            _ if error.to_string().contains(SKEWED) => Error::Clock,
            ErrorKind::NotFound => Error::NotFound,
            ErrorKind::PermissionDenied => self.refused(),
            ErrorKind::ConfigInvalid => Error::NoBucket,
            kind => Error::Trouble(self.words(), in_words(kind)),
        }
    }
}

/// S3's code for a request that was signed too early or too late. `opendal` has no error kind for it, so the error's
/// text is searched, and never shown.
pub(super) const SKEWED: &str = "RequestTimeTooSkewed";

fn in_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RateLimited => "it asks for fewer requests",
        ErrorKind::Unsupported => "the service does not support this operation",
        _ => "it failed, or could not be reached: check AWS_ENDPOINT, AWS_REGION and the network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_told_as_such() {
        let said = "S3Error { code: \"RequestTimeTooSkewed\", message: \"…\" }";
        let skewed = opendal::Error::new(ErrorKind::PermissionDenied, said);
        assert!(matches!(Act::Write.failed(&skewed), Error::Clock));
        let refused = opendal::Error::new(ErrorKind::PermissionDenied, "AccessDenied");
        assert!(matches!(Act::Write.failed(&refused), Error::Refused(_)));
    }
}
