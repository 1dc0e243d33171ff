//! A chapter, not code: vulnerabilities that implementations of DPoP and JOSE have had, and what rules them out here.
//!
//! Where a type rules a fault out, there is nothing to forget. Where a check does, the test that holds it is named; all are in
//! `proofs/tests/proofs/` or beside the code.
//!
//! # Replays
//!
//! **The memory ends before the proof does.** A lifetime counted from now, without the tolerated skew, or as a constant: a proof dated a
//! few seconds ahead outlives its entry and works a second time; with some arithmetic the lifetime is negative and nothing is stored
//! at all. Here the check of `iat` itself returns the last instant at which this very proof could pass, and [`Claim::ttl`] is
//! measured by it. Test: `whatever_was_accepted_once_is_refused_ever_after`, every pair of uses on a grid of one second.
//!
//! **The proof is never spent, or too early, or too late.** `jti` ignored; burnt by a request that then fails another check, so that an
//! honest client can't retry; or recorded only after tokens were issued, so that parallel copies all win. Here [`VerifiedProof`]
//! gives no access to anything worth having, [`VerifiedProof::spend`] consumes it and is the only constructor of [`FreshProof`], and
//! no check before it leaves a trace. Tests: `second_use_of_a_proof_is_refused`, `a_challenge_spends_nothing`.
//!
//! **Anyone can burn anyone's `jti`.** Where the bare `jti` is the name of a use, an attacker who learns it spends it first. Here the name
//! holds the key's thumbprint ([`ReplayKey::of_proof`]). Test: `nobody_can_burn_the_jti_of_another_key`.
//!
//! **The name of a use is the text of the proof.** From an ECDSA signature (r, s) anybody makes (r, n - s), which verifies as well; loose
//! base64 gives further spellings. Here nothing is ever named by the bytes of a JWT. Test:
//! `the_twin_of_an_ecdsa_signature_is_accepted_and_spends_the_same`.
//!
//! **The memory fails open.** A cache that evicts, an answer that is lost, a store that was flushed. Here [`LedgerError`] is no answer a
//! [`FreshProof`] can be made of, and an [`Epoch`] that may have forgotten something demands nonces nobody has seen before. Tests:
//! `a_ledger_that_cannot_tell_makes_no_fresh_proof`, `after_an_epoch_change_every_proof_needs_a_nonce_of_the_new_epoch`.
//!
//! # The request
//!
//! **Two proofs, one of them checked.** Proxies put fields in front and join them with commas. Here all values go in and exactly one
//! must be there. Test: `a_request_has_exactly_one_proof`.
//!
//! **`htu` is compared too strictly or too loosely.** Default ports, percent-encodings and queries break honest clients; stripped slashes,
//! decoded `%2F`, ignored case and prefix matches open other endpoints; parsers made for browsers turn backslashes into slashes. Here
//! [`TargetUri`] is RFC 3986 and nothing more, and two of them can only be equal or not. Test:
//! `every_pair_is_the_same_or_not_as_rfc_3986_says`.
//!
//! **A proof for a resource gets a token.** Here a proof with an `ath` is refused where no token is presented. Test:
//! `without_an_access_token_a_proof_made_for_one_is_refused`.
//!
//! **A claim of the wrong type counts as absent.** `"exp": "never"` passed as no `exp` at all; the smallest integer as `iat` overflowed.
//! Here a claim that is there has its type or the proof is refused, and [`UnixTime`] saturates. Tests:
//! `every_claim_is_there_and_of_its_type`, `iat_may_be_any_json_number`.
//!
//! # The key
//!
//! **A private key in the header.** Accepted, verified with, and logged. Here private members are refused by their presence, `null` included, and
//! [`PublicJwk`] has no room for one. Test: `a_private_member_in_the_key_is_refused_whatever_its_value`.
//!
//! **One key under several names.** Padded, zero-extended or re-encoded members give one key many thumbprints. Here every member has one
//! spelling. Tests: `a_coordinate_has_the_full_width_of_its_curve_and_one_spelling`, `unused_bits_of_the_last_character_must_be_zero`.
//!
//! **Keys that cost, and keys that accept anything.** RSA moduli of 16384 bits and huge exponents as a denial of service; points off the curve;
//! points of small order, under which one signature fits many messages. Tests: `an_rsa_key_has_2048_to_4096_bits_and_the_exponent_65537`,
//! `a_point_lies_on_its_curve`, `an_ed25519_key_is_canonical_and_of_large_order`.
//!
//! **The public half is taken from the caller.** Signing with a private half and a foreign public half of Ed25519 gives the private one
//! away. Here [`ProofKey`] derives it. Test: `a_private_key_with_another_public_half_is_refused`.
//!
//! # The signature
//!
//! **The token chooses how it is verified.** `none` in any case, a public key used as a MAC secret, an empty key. Here [`Alg`] has no value
//! for any of these, and an algorithm must fit the kind of key. Tests: `the_algorithm_is_on_the_allow_list`, `the_algorithm_fits_the_key`.
//!
//! **Zeros verify.** r = s = 0 passed an ECDSA check; S beyond the order passed an Ed25519 check. Tests:
//! `a_signature_of_zeros_is_refused_by_every_backend` and the vectors of the Wycheproof project, on both backends.
//!
//! **Unknown critical headers are ignored.** Here `crit` and `b64` are refused, whatever they say. Test:
//! `critical_header_extensions_are_refused`.
//!
//! # The text
//!
//! **Two parsers, two meanings.** The first of two equal members for one, the last for the other, and a third that does not see that
//! `\u0061` is `a`. Here equal members are refused at any depth. Test: `a_member_named_twice_is_refused_at_any_depth`.
//!
//! **Other serialisations.** Encrypted tokens around unsigned ones, JSON with an empty list of signatures, compact and JSON mixed. Here
//! [`Compact`] is three non-empty segments. Test: `only_three_non_empty_segments_are_a_compact_jws`.
//!
//! **Size.** Megabytes of header decoded, megabytes of dots split. Here the length is checked before a byte is looked at, dots are counted in
//! place, and nesting ends at 16 levels. Tests: `a_proof_is_no_longer_than_the_policy_allows`, `nesting_ends_at_sixteen_levels`.
//!
//! **Secrets in logs.** Errors here hold nothing of the proof; keys, hashes and nonces are redacted when printed. Test:
//! `nothing_secret_is_printed`.
//!
//! [`Alg`]: crate::Alg
//! [`Claim::ttl`]: crate::Claim::ttl
//! [`Compact`]: crate::jose::Compact
//! [`Epoch`]: crate::Epoch
//! [`FreshProof`]: crate::FreshProof
//! [`LedgerError`]: crate::LedgerError
//! [`ProofKey`]: crate::ProofKey
//! [`PublicJwk`]: crate::PublicJwk
//! [`ReplayKey::of_proof`]: crate::ReplayKey::of_proof
//! [`TargetUri`]: crate::TargetUri
//! [`UnixTime`]: crate::UnixTime
//! [`VerifiedProof`]: crate::VerifiedProof
//! [`VerifiedProof::spend`]: crate::VerifiedProof::spend
