#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// OpenSSL's macros, which Swift does not see, as functions.

static inline int tls_context_set_minimum(SSL_CTX *context, int version) {
  return SSL_CTX_set_min_proto_version(context, version);
}
static inline void tls_context_add_modes(SSL_CTX *context, long modes) { SSL_CTX_set_mode(context, modes); }
static inline void tls_context_refuse_renegotiation(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
}
static inline void tls_context_set_cache_mode(SSL_CTX *context, long mode) {
  SSL_CTX_set_session_cache_mode(context, mode);
}
static inline void tls_context_read_ahead(SSL_CTX *context) { SSL_CTX_set_read_ahead(context, 1); }
static inline int tls_set_host_name(SSL *session, const char *name) { return (int)SSL_set_tlsext_host_name(session, name); }

static inline void bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline void bio_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void bio_retry_write(BIO *bio) { BIO_set_retry_write(bio); }

static inline int print_name(BIO *bio, const X509_NAME *name) { return X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253); }
static inline int print_string(BIO *bio, const ASN1_STRING *string) {
  return ASN1_STRING_print_ex(bio, string, ASN1_STRFLGS_RFC2253);
}
