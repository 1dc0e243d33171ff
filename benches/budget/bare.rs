//! The bare server: HTTP, one ES256 verification, and with `POST` one ES256 signature.

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::floor::Signatures;

/// Serves until killed.
pub(crate) fn serve(address: &str) {
    let address = address.to_owned();
    let signatures = web::Data::new(Signatures::new());
    actix_web::rt::System::new()
        .block_on(async move {
            HttpServer::new(move || {
                App::new().app_data(signatures.clone()).route("/", web::post().to(answer)).route("/", web::get().to(verify))
            })
            .workers(1)
            .bind(address)?
            .run()
            .await
        })
        .expect("the bare server runs");
}

async fn answer(_body: web::Bytes, signatures: web::Data<Signatures>) -> HttpResponse {
    signatures.verify();
    HttpResponse::Ok().body(signatures.sign())
}

async fn verify(signatures: web::Data<Signatures>) -> HttpResponse {
    signatures.verify();
    HttpResponse::Ok().finish()
}
