//! Where a site has its objects: in a directory.

use std::path::Path;

use line_chat_archive::objects::Objects;
use url::Url;

pub async fn objects_of(home: &Path) -> Objects {
    let directory = Url::from_directory_path(home.join("objects")).unwrap();
    Objects::open(&directory).await.unwrap()
}
