//! Authentication and encryption: tokens, certificates of the service and of clients, and endpoints without authentication.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::service::{Server, infer, infer_with, request};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

const TOKEN: &str = "0123456789abcdef-a-token";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Creates an authority that signs certificates.
fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

/// Creates a certificate for `localhost` and its key, in PEM format.
fn certificate(by: &Authority, expired: bool) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    if expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let signed = params.signed_by(&key, by).expect("a certificate");
    (signed.pem(), key.serialize_pem())
}

struct Files {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let it = Self {
            folder: tempfile::tempdir().expect("a folder"),
            authority: authority("ours"),
        };
        let (certificate, key) = certificate(&it.authority, false);
        it.write("host.pem", &certificate);
        it.write("host.key", &key);
        it.write("authority.pem", &it.authority.pem());
        let tokens = it.write("tokens", &format!("# for tests\n{TOKEN}\n"));
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(tokens, owner).expect("a mode");
        it
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn serve(&self, more: &[&str]) -> Server {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (certificate, key, tokens) = (path("host.pem"), path("host.key"), path("tokens"));
        let arguments = [
            "--tls-certificate",
            &certificate,
            "--tls-key",
            &key,
            "--token-file",
            &tokens,
            "--listen",
            "0.0.0.0:0",
        ];
        Server::start(&[&arguments[..], more].concat())
    }
}

async fn connect(
    server: &Server,
    tls: ClientTlsConfig,
) -> Result<Channel, tonic::transport::Error> {
    let port = server.address.rsplit(':').next().expect("a port");
    Endpoint::from_shared(format!("https://localhost:{port}"))
        .expect("an address")
        .tls_config(tls.domain_name("localhost"))
        .expect("certificates")
        .connect()
        .await
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()))
}

/// Sends a request with a token.
async fn with_token(channel: &Channel, token: &str) -> Result<(), Status> {
    let mut call = Request::new(request("a", 3, 1));
    let value = format!("Bearer {token}").parse().expect("a header");
    call.metadata_mut().insert("authorization", value);
    infer_with(channel, call).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_need_encryption_and_a_token() {
    let files = Files::new();
    let server = files.serve(&[]);
    let channel = connect(&server, trusting(&files.authority))
        .await
        .expect("our authority");
    with_token(&channel, TOKEN).await.expect("the token");
    for wrong in [
        "0123456789abcdef-a-toke",
        "wrong",
        "0123456789abcdef-a-token2",
    ] {
        let refused = with_token(&channel, wrong).await.expect_err(wrong);
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }
    let refused = infer(&channel, request("a", 3, 1))
        .await
        .expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let mut flight = arrow_flight::flight_service_client::FlightServiceClient::new(channel.clone());
    let refused = flight.list_flights(arrow_flight::Criteria::default()).await;
    assert_eq!(refused.expect_err("no token").code(), Code::Unauthenticated);
    let refused = flight.do_exchange(futures::stream::empty()).await;
    assert_eq!(refused.expect_err("no token").code(), Code::Unauthenticated);
    // The client does not trust another authority, and the service accepts no plain connection.
    assert!(
        connect(&server, trusting(&authority("theirs")))
            .await
            .is_err()
    );
    let port = server.address.rsplit(':').next().expect("a port");
    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    let call = async {
        let channel = plain
            .connect()
            .await
            .map_err(|it| Status::unavailable(it.to_string()))?;
        with_token(&channel, TOKEN).await
    };
    assert!(call.await.is_err(), "a plain connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_need_a_certificate_if_authorities_are_given() {
    let files = Files::new();
    let authorities = files.folder.path().join("authority.pem");
    let server = files.serve(&[
        "--tls-client-authorities",
        authorities.to_str().expect("text"),
    ]);
    let call = async |identity: Option<(String, String)>| {
        let mut tls = trusting(&files.authority);
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let channel = connect(&server, tls).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        with_token(&channel, TOKEN).await
    };
    call(Some(certificate(&files.authority, false)))
        .await
        .expect("a good one");
    assert!(call(None).await.is_err(), "no certificate");
    let expired = certificate(&files.authority, true);
    assert!(call(Some(expired)).await.is_err(), "an expired certificate");
    let foreign = certificate(&authority("theirs"), false);
    assert!(call(Some(foreign)).await.is_err(), "another authority");
    call(Some(certificate(&files.authority, false)))
        .await
        .expect("a good one still");
}

#[test]
fn only_liveness_needs_no_token_and_tokens_are_never_printed() {
    let files = Files::new();
    let tokens = files.folder.path().join("tokens");
    let server = Server::start_with(
        &["--token-file", tokens.to_str().expect("text")],
        &[("NUWAVE_LOG", "trace")],
    );
    assert_eq!(server.http("/v2/health/live").0, 200);
    for closed in [
        "/",
        "/metrics",
        "/status.json",
        "/v2",
        "/v2/health/ready",
        "/nothing",
    ] {
        assert_eq!(server.http(closed).0, 401, "{closed}");
        let bearer = format!("authorization: Bearer {TOKEN}x\r\n");
        assert_eq!(server.http_with(closed, &bearer).0, 401, "{closed}");
    }
    // Basic authentication as sent by a browser: `nuwave:` and the token, in base64.
    let basic = base64_of(&format!("nuwave:{TOKEN}"));
    let (code, page) = server.http_with("/", &format!("authorization: Basic {basic}\r\n"));
    assert!(code == 200 && page.contains("<title>nuwave</title>"));
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let (code, metrics) = server.http_with("/metrics", &bearer);
    assert!(
        code == 200 && metrics.contains("nuwave_rejections_total{reason=\"token\"} 12"),
        "{metrics}"
    );
    let (_, status) = server.http_with("/status.json", &bearer);
    for (name, text) in [
        ("metrics", &metrics),
        ("status", &status),
        ("log", &server.stderr()),
    ] {
        assert!(
            !text.contains(TOKEN) && !text.contains(&basic),
            "the {name} tell the token"
        );
    }
}

fn base64_of(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let word = chunk.iter().enumerate().fold(0_u32, |word, (at, &it)| {
            word | u32::from(it) << (16 - 8 * at)
        });
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= chunk.len() {
                letter as char
            } else {
                '='
            });
        }
    }
    out
}

#[test]
fn invalid_certificates_are_rejected_at_the_start() {
    let files = Files::new();
    let path = |name: &str| files.folder.path().join(name).display().to_string();
    let start = |certificate: &str, key: &str| {
        let output = crate::support::service::nuwave(&[
            "serve",
            "-d",
            "juno",
            "--listen",
            "127.0.0.1:0",
            "--tls-certificate",
            certificate,
            "--tls-key",
            key,
        ]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (_, key) = certificate(&files.authority, false);
    let other = files.write("other.key", &key);
    let other = other.to_str().expect("text");
    assert!(start(&path("host.pem"), other).contains("do not go together"));
    assert!(start(&path("tokens"), &path("host.key")).contains("contains no certificate"));
    assert!(start(&path("host.pem"), &path("tokens")).contains("contains no private key"));
    let nowhere = Path::new("/nowhere.pem").display().to_string();
    assert!(start(&nowhere, &path("host.key")).contains("cannot be read"));
}
