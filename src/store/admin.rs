//! Files that the configuration names, outside of the store.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const SIZE_MAX: u64 = 1024 * 1024;

/// Reads a file, at most 1 MiB: what is longer is an error, as none of those we know is.
pub fn read_admin_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(SIZE_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > SIZE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(content)
}
