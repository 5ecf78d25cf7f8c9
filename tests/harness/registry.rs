//! Debian's `docker-registry` on a free loopback port, and pushing to it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::command;
use crate::http::{self, Response};
use crate::image::{Image, OCI_INDEX, digest};
use crate::wait;

/// Who may use a registry started with [`Registry::start_private`].
pub const USER: &str = "tester";
/// Their password.
pub const PASSWORD: &str = "secret";
/// Both, as a registry keeps them.
const PASSWORD_FILE: &str = "tester:$2b$04$jGEeK9inU8DpmSBCbZIVXuD6hemL6IWJfX7ezym4xfcFMmlzRdbDu\n";
/// Both, as a header carries them.
const AUTHORIZATION: &str = "Basic dGVzdGVyOnNlY3JldA==";

/// A running registry; dropping it ends it and removes what it stored.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
    private: bool,
}

impl Registry {
    /// Starts a registry that anyone may read and write.
    pub fn start() -> Result<Self> {
        Self::start_with(false)
    }

    /// Starts a registry that asks for [`USER`] and [`PASSWORD`].
    pub fn start_private() -> Result<Self> {
        Self::start_with(true)
    }

    /// Starts a registry with this one's images that speaks TLS. Its certificate is for the address
    /// 0.0.0.0, which is no loopback address and still leads here, and is signed by [`Self::ca`].
    pub fn start_tls(&self) -> Result<Self> {
        self.start_encrypted("")
    }

    /// Starts a registry as [`Self::start_tls`] does that wants a certificate from clients too: such
    /// as `client.pem` with `client.key` in its directory.
    pub fn start_mutual_tls(&self) -> Result<Self> {
        self.start_encrypted("    clientcas:\n      - {}/ca.pem\n")
    }

    /// Starts a registry that speaks TLS; `more` is told of it, with its directory for `{}`.
    fn start_encrypted(&self, more: &str) -> Result<Self> {
        let directory = own_directory()?;
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command
                .args(arguments.split(' '))
                .current_dir(directory.path());
            command::run(&mut command)
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=test-ca"
        ))?;
        openssl(&format!(
            "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout key.pem -out cert.pem -subj /CN=test \
             -addext subjectAltName=IP:0.0.0.0 -addext basicConstraints=critical,CA:FALSE"
        ))?;
        openssl(&format!(
            "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout client.key -out client.pem -subj /CN=client \
             -addext basicConstraints=critical,CA:FALSE"
        ))?;
        let here = directory.path().display().to_string();
        let tls = format!(
            "  tls:\n    certificate: {here}/cert.pem\n    key: {here}/key.pem\n{}",
            more.replace("{}", &here)
        );
        let data = self.directory.path().join("data");
        let started = Self::start_in(directory, &data, &tls, false)?;
        wait::until("the registry listens", || {
            Ok(TcpStream::connect(started.address).ok())
        })
        .with_context(|| started.log())?;
        Ok(started)
    }

    /// Returns the certificate that signed a registry's own, of one that speaks TLS.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn start_with(private: bool) -> Result<Self> {
        let directory = own_directory()?;
        let passwords = directory.path().join("passwords");
        std::fs::write(&passwords, PASSWORD_FILE).context("write the registry's passwords")?;
        let login = format!(
            "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            passwords.display()
        );
        let configuration = if private { login } else { String::new() };
        let data = directory.path().join("data");
        let registry = Self::start_in(directory, &data, &configuration, private)?;
        let address = registry.address;
        wait::until("the registry answers", || {
            match http::request(address, "GET", "/v2/", &[], &[]) {
                Ok(answer) => Ok(matches!(answer.status, 200 | 401).then_some(())),
                Err(_) => Ok(None),
            }
        })
        .with_context(|| registry.log())?;
        Ok(registry)
    }

    /// Starts a registry that stores in `data`; the configuration ends with `more`.
    fn start_in(directory: TempDir, data: &Path, more: &str, private: bool) -> Result<Self> {
        let address = free_address()?;
        let file = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
             delete:\n    enabled: true\nhttp:\n  addr: {address}\n{more}",
            data.display()
        );
        std::fs::write(&file, text).context("write the registry's configuration")?;
        let log = File::create(directory.path().join("log")).context("make the registry's log")?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start docker-registry (package docker-registry)")?;
        Ok(Self {
            child,
            address,
            directory,
            private,
        })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process id of the registry.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the directory the registry stores in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the full reference of a repository and tag here.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Pushes an image under `repository:tag` and returns its full reference.
    pub fn push(&self, name: &str, image: &Image) -> Result<String> {
        let (repository, tag) = split(name);
        for blob in &image.blobs {
            self.push_blob(repository, &blob.bytes)?;
        }
        self.push_manifest(repository, tag, &image.media_type, &image.manifest)?;
        Ok(self.reference(name))
    }

    /// Pushes images under their digests, and an index of these entries under `repository:tag`.
    pub fn push_index(&self, name: &str, images: &[&Image], index: &[u8]) -> Result<String> {
        let (repository, tag) = split(name);
        for image in images {
            for blob in &image.blobs {
                self.push_blob(repository, &blob.bytes)?;
            }
            self.push_manifest(
                repository,
                &image.manifest_digest(),
                &image.media_type,
                &image.manifest,
            )?;
        }
        self.push_manifest(repository, tag, OCI_INDEX, index)?;
        Ok(self.reference(name))
    }

    fn push_blob(&self, repository: &str, bytes: &[u8]) -> Result<()> {
        let digest = digest(bytes);
        if self
            .request(
                "HEAD",
                &format!("/v2/{repository}/blobs/{digest}"),
                &[],
                &[],
            )?
            .status
            == 200
        {
            return Ok(());
        }
        let begun = self.request(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            &[],
            &[],
        )?;
        ensure!(
            begun.status == 202,
            "an upload to {repository} was answered with {}",
            begun.status
        );
        let location = begun
            .header("location")
            .context("an upload has a location")?;
        let host = format!("http://{}", self.address);
        let target = location.strip_prefix(&host).unwrap_or(location);
        let join = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{join}digest={digest}");
        let done = self.request(
            "PUT",
            &target,
            &[("Content-Type", "application/octet-stream")],
            bytes,
        )?;
        ensure!(
            done.status == 201,
            "blob {digest} was answered with {}",
            done.status
        );
        Ok(())
    }

    fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<()> {
        let target = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.request("PUT", &target, &[("Content-Type", media_type)], bytes)?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == 201,
            "manifest {repository}:{tag} was answered with {}: {body}",
            answer.status
        );
        Ok(())
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut headers = headers.to_vec();
        if self.private {
            headers.push(("Authorization", AUTHORIZATION));
        }
        http::request(self.address, method, target, &headers, body)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an address on loopback that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("read the free port")
}

fn own_directory() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("registry-")
        .tempdir()
        .context("make the registry's directory")
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once(':').unwrap_or((name, "latest"))
}
