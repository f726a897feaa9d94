//! Signature Version 4: how a request shows that it is made by the owner of a key, without showing the key.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::credentials::Credentials;
use crate::stamp::Stamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature is valid for, beside the request itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// Region of the service.
    pub(super) region: &'a str,
    /// `s3`, `logs`, `firehose`.
    pub(super) service: &'a str,
    /// Unix seconds.
    pub(super) now: u32,
}

/// A request without a query, as far as it is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Encoded as it is sent.
    pub(super) path: &'a str,
    /// Names in lower case, in their order.
    pub(super) headers: &'a [(&'a str, String)],
    /// SHA-256 of the body, hexadecimal.
    pub(super) payload: &'a str,
}

/// The header `authorization` of a request.
pub(super) fn authorization(request: &Signed<'_>, scope: Scope<'_>, credentials: &Credentials) -> String {
    let Scope { region, service, now } = scope;
    let (stamp, day) = (timestamp(now), date(now));
    let names: Vec<_> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n{}\n\n", request.method, request.path);
    for (name, value) in request.headers {
        // Writing to a String cannot fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{}", request.payload);
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", credentials.secret_key()).into_bytes();
    for part in [day.as_str(), region, service, "aws4_request"] {
        key = mac(&key, part);
    }
    let (id, signature) = (credentials.key_id(), hex(&mac(&key, &to_sign)));
    format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// The header `x-amz-date`: `20261126T142000Z`.
pub(super) fn timestamp(now: u32) -> String {
    let Stamp { hour, minute, .. } = Stamp::of(now);
    format!("{}T{hour:02}{minute:02}{:02}Z", date(now), now % 60)
}

fn date(now: u32) -> String {
    let Stamp { year, month, day, .. } = Stamp::of(now);
    format!("{year:04}{month:02}{day:02}")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A path as it is sent and signed: every byte but letters, digits, `-._~` and `/` as `%XX`.
pub(super) fn encode(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().fold(String::new(), |mut text, byte| {
        let _ = if is_plain(byte) { write!(text, "{}", byte as char) } else { write!(text, "%{byte:02X}") };
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signature(request: &Signed<'_>, scope: Scope<'_>, secret: &str) -> String {
        let credentials = Credentials::new("AKIDEXAMPLE", secret, None);
        authorization(request, scope, &credentials).rsplit_once("Signature=").unwrap().1.to_owned()
    }

    /// `get-vanilla` of AWS's test suite for Signature Version 4.
    #[test]
    fn aws_s_test_suite() {
        let headers =
            [("host", "example.amazonaws.com".to_owned()), ("x-amz-date", "20150830T123600Z".to_owned())];
        let request = Signed { method: "GET", path: "/", headers: &headers, payload: NOTHING };
        let scope = Scope { region: "us-east-1", service: "service", now: 1_440_938_160 };
        assert_eq!(timestamp(scope.now), headers[1].1);
        assert_eq!(
            signature(&request, scope, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    /// `PUT Object` among the examples in the Amazon S3 API reference.
    #[test]
    fn an_object_as_in_s3_s_reference() {
        let payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        assert_eq!(hex(&Sha256::digest("Welcome to Amazon S3.")), payload);
        let path = encode("/test$file.text");
        assert_eq!(path, "/test%24file.text");
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            ("host", "examplebucket.s3.amazonaws.com".to_owned()),
            ("x-amz-content-sha256", payload.to_owned()),
            ("x-amz-date", "20130524T000000Z".to_owned()),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
        ];
        let request = Signed { method: "PUT", path: &path, headers: &headers, payload };
        let scope = Scope { region: "us-east-1", service: "s3", now: 1_369_353_600 };
        assert_eq!(
            signature(&request, scope, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }
}
