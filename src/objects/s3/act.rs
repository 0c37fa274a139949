//! What is done in S3, in words for whoever has to give the right to do it.

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

    /// S3 says that the access key may not.
    pub(super) fn refused(self) -> Error {
        match self {
            Self::ListVersions | Self::ListUploads | Self::Delete | Self::Abort => {
                Error::PurgeRefused(self.words())
            }
            Self::Write | Self::Read | Self::List | Self::Lock => Error::Refused(self.words()),
        }
    }

    /// What the error means. Its text stays behind: it holds what S3 answered.
    pub(super) fn failed(self, error: &opendal::Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound => Error::NotFound,
            ErrorKind::PermissionDenied => self.refused(),
            ErrorKind::ConfigInvalid => Error::NoBucket,
            kind => Error::Trouble(self.words(), kind.into_static()),
        }
    }
}
