//! What can be wrong with a proof: one variant per check.

use std::fmt;

use crate::jose::{CompactError, JsonError};
use crate::jwk::JwkError;

/// Writes the enum and its tables from one list, so that no variant lacks its code, its check or its text.
macro_rules! proof_errors {
    ($($(#[$doc:meta])* $variant:ident $code:literal $check:literal $description:literal;)+) => {
        /// Why a proof is refused.
        ///
        /// No variant holds anything of the proof, so an error can be logged and sent as it is.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ProofError {
            $($(#[$doc])* $variant,)+
        }

        impl ProofError {
            /// Every variant, in the order in which the checks are made.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// A stable name in snake_case, for logs, metrics and tests.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The number of the check in RFC 9449 section 4.3, 1 to 12; 0 for what the RFC leaves to us.
            pub const fn check(self) -> u8 {
                match self { $(Self::$variant => $check,)+ }
            }

            /// One sentence for `error_description`: visible ASCII and spaces, without quotes and backslashes (RFC 6749 section 5.2).
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)+ }
            }
        }
    };
}

proof_errors! {
    /// There is no `DPoP` field.
    Missing "missing" 0 "the request has no DPoP proof";
    /// More than one `DPoP` field, or several values joined by commas.
    Multiple "multiple" 1 "the request has more than one DPoP proof";
    /// Longer than the policy allows.
    TooLarge "too_large" 0 "the DPoP proof is too long";
    /// Not three non-empty segments: nothing, an encrypted token, a detached signature, a JSON serialisation.
    NotCompact "not_compact" 2 "the DPoP proof is not a JWS in compact form";
    /// A segment is not canonical, unpadded base64url.
    NotBase64Url "not_base64url" 2 "the DPoP proof is not made of canonical base64url segments";
    /// Header or claims are not one JSON object in UTF-8, or are nested too deeply.
    NotJson "not_json" 2 "the header or the claims of the DPoP proof are not one JSON object";
    /// An object in header or claims names a member twice.
    DuplicateMember "duplicate_member" 2 "the DPoP proof names a JSON member twice";
    /// The header has no `typ`, or one that is not a string.
    TypMissing "typ_missing" 3 "the DPoP proof has no typ";
    /// `typ` is not exactly `dpop+jwt`.
    TypWrong "typ_wrong" 4 "the typ of the DPoP proof is not dpop+jwt";
    /// The header has no `alg`, or one that is not a string.
    AlgMissing "alg_missing" 3 "the DPoP proof has no alg";
    /// `alg` is not on the allow-list, or nothing here can verify it.
    AlgNotAllowed "alg_not_allowed" 5 "the alg of the DPoP proof is not accepted here";
    /// The header has `crit` or `b64`: extensions that must be understood, and none is (RFC 7515 section 4.1.11, RFC 7797).
    CriticalHeader "critical_header" 2 "the DPoP proof uses a critical header extension";
    /// The header has no `jwk`, or one that is not an object.
    JwkMissing "jwk_missing" 3 "the DPoP proof has no jwk object";
    /// `jwk` holds a private or symmetric member.
    JwkPrivate "jwk_private" 7 "the jwk of the DPoP proof holds a private key member";
    /// `jwk` is of a kind that can't sign proofs here.
    JwkUnsupported "jwk_unsupported" 5 "the jwk of the DPoP proof is of an unsupported kind";
    /// A required member of `jwk` is missing, not a string or not in its canonical spelling.
    JwkMalformed "jwk_malformed" 3 "the jwk of the DPoP proof is malformed";
    /// `jwk` is not a usable point on its curve.
    JwkNotOnCurve "jwk_not_on_curve" 6 "the jwk of the DPoP proof is not a usable point on its curve";
    /// The RSA key in `jwk` is too short, too long or has another exponent than 65537.
    JwkRsaBounds "jwk_rsa_bounds" 5 "the RSA key of the DPoP proof is outside the accepted bounds";
    /// `use`, `key_ops` or `alg` of `jwk` contradict what it is used for.
    JwkOtherUse "jwk_other_use" 5 "the jwk of the DPoP proof declares another use";
    /// `alg` does not fit `jwk`.
    AlgKeyMismatch "alg_key_mismatch" 5 "the alg of the DPoP proof does not fit its jwk";
    /// `jti` is missing or not a string.
    JtiMissing "jti_missing" 3 "the DPoP proof has no jti string";
    /// `jti` is empty or longer than 256 bytes.
    JtiLength "jti_length" 3 "the jti of the DPoP proof is empty or too long";
    /// `htm` is missing or not a string.
    HtmMissing "htm_missing" 3 "the DPoP proof has no htm string";
    /// `htu` is missing or not a string.
    HtuMissing "htu_missing" 3 "the DPoP proof has no htu string";
    /// `iat` is missing or not a number.
    IatMissing "iat_missing" 3 "the DPoP proof has no iat number";
    /// `exp` is not a number.
    ExpNotANumber "exp_not_a_number" 3 "the exp of the DPoP proof is not a number";
    /// `nbf` is not a number.
    NbfNotANumber "nbf_not_a_number" 3 "the nbf of the DPoP proof is not a number";
    /// `ath` is not a string.
    AthNotAString "ath_not_a_string" 3 "the ath of the DPoP proof is not a string";
    /// `nonce` is not a string.
    NonceNotAString "nonce_not_a_string" 3 "the nonce of the DPoP proof is not a string";
    /// `htm` is not the request's method, case included.
    HtmMismatch "htm_mismatch" 8 "the htm of the DPoP proof is not the method of this request";
    /// `htu` is not an absolute `http` or `https` URI.
    HtuMalformed "htu_malformed" 9 "the htu of the DPoP proof is not an absolute http or https URI";
    /// `htu` is not the request's URI.
    HtuMismatch "htu_mismatch" 9 "the htu of the DPoP proof is not the URI of this request";
    /// A nonce is demanded and missing, or one is there that is stale or unknown. Answered with a nonce, and with no other trace.
    UseNonce "use_nonce" 10 "the DPoP proof needs the nonce that this answer provides";
    /// `iat` is too far in the past.
    IatTooOld "iat_too_old" 11 "the DPoP proof is too old";
    /// `iat` is too far in the future.
    IatTooNew "iat_too_new" 11 "the iat of the DPoP proof lies in the future";
    /// `exp` has passed.
    Expired "expired" 11 "the DPoP proof has expired";
    /// `nbf` has not come yet.
    NotYetValid "not_yet_valid" 11 "the DPoP proof is not valid yet";
    /// The signature does not verify with `jwk`.
    BadSignature "bad_signature" 6 "the signature of the DPoP proof does not verify with its jwk";
    /// The request presents an access token and the proof has no `ath`.
    AthMissing "ath_missing" 12 "the DPoP proof has no ath for the access token";
    /// `ath` is not the hash of the presented access token.
    AthMismatch "ath_mismatch" 12 "the ath of the DPoP proof is not that of the access token";
    /// The proof was made for the use of an access token, and the request presents none.
    AthUnexpected "ath_unexpected" 12 "the DPoP proof has an ath and the request presents no access token";
}

impl ProofError {
    /// Whether the answer is `use_dpop_nonce` with a fresh nonce, and a retry will help.
    pub const fn is_nonce_challenge(self) -> bool {
        matches!(self, Self::UseNonce)
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for ProofError {}

impl From<CompactError> for ProofError {
    fn from(error: CompactError) -> Self {
        match error {
            CompactError::Segments => Self::NotCompact,
            CompactError::Alphabet => Self::NotBase64Url,
        }
    }
}

impl From<JsonError> for ProofError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::DuplicateMember => Self::DuplicateMember,
            JsonError::NotUtf8 | JsonError::Syntax | JsonError::NotAnObject | JsonError::TooDeep => Self::NotJson,
        }
    }
}

impl From<JwkError> for ProofError {
    fn from(error: JwkError) -> Self {
        match error {
            JwkError::Json(error) => error.into(),
            JwkError::Private => Self::JwkPrivate,
            JwkError::UnsupportedKind => Self::JwkUnsupported,
            JwkError::Member | JwkError::NotCanonical => Self::JwkMalformed,
            JwkError::NotOnCurve => Self::JwkNotOnCurve,
            JwkError::RsaBounds => Self::JwkRsaBounds,
            JwkError::OtherUse => Self::JwkOtherUse,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// TEP-12
    #[test]
    fn every_error_has_its_own_code_and_a_description_that_may_stand_in_a_header() {
        let codes: HashSet<_> = ProofError::ALL.iter().map(|error| error.code()).collect();
        let descriptions: HashSet<_> = ProofError::ALL.iter().map(|error| error.description()).collect();
        assert_eq!((codes.len(), descriptions.len()), (ProofError::ALL.len(), ProofError::ALL.len()));
        for error in ProofError::ALL {
            assert!(error.code().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{error:?}");
            assert!(error.description().bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{error:?}");
            assert!(error.check() <= 12);
            assert_eq!(error.to_string(), error.description());
        }
        for check in 1..=12 {
            assert!(ProofError::ALL.iter().any(|error| error.check() == check), "no error for check {check}");
        }
    }
}
