//! `docker-registry` on a free port of loopback, with its own directory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A registry process that ends with this value.
pub struct Registry {
    child: Child,
    pub address: String,
    directory: tempfile::TempDir,
}

impl Registry {
    /// Starts a registry and waits until it answers.
    pub fn start() -> Self {
        for _ in 0..5 {
            if let Some(registry) = Self::try_start() {
                return registry;
            }
        }
        panic!("docker-registry did not start: is the package docker-registry installed?");
    }

    fn try_start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            directory.path().join("data").display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve".as_ref(), file.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self {
            child,
            address,
            directory,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if TcpStream::connect(&registry.address).is_ok() {
                return Some(registry);
            }
            // Lost the race for the port: another try gets another one.
            if registry.child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::yield_now();
        }
        None
    }

    /// Returns the directory with the registry's data.
    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    /// Stores a blob under a digest that the registry checks.
    pub fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let (status, head, _) =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[]);
        assert_eq!(status, 202, "{head}");
        let location = head
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap();
        let path = location.split_once(&*self.address).unwrap().1.trim();
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}digest={digest}");
        let (status, head, body) = self.request("PUT", &path, "application/octet-stream", bytes);
        assert_eq!(status, 201, "{head}{}", String::from_utf8_lossy(&body));
    }

    /// Stores a manifest under a tag or digest.
    pub fn push_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{name}");
        let (status, head, body) = self.request("PUT", &path, media_type, bytes);
        assert_eq!(status, 201, "{head}{}", String::from_utf8_lossy(&body));
    }

    fn request(&self, verb: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        write!(
            stream,
            "{verb} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
