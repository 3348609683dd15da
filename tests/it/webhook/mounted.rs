use axum::Router;
use axum::body::Body;
use foreman_client::Notifier;
use foreman_client::source::RefusalReason;
use foreman_client::webhook::WebhookReceiver;
use http::{Method, Request};
use tower::ServiceExt as _;

const UNKNOWN_TOKEN: &str = "/foreman/00112233445566778899aabbccddeeff";

#[tokio::test]
async fn router_serves_receiver() {
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::new(notifier.clone());
    let routed = Router::new().route_service("/foreman/{token}", receiver.clone());
    let nested = Router::new().nest_service("/foreman", receiver.clone());
    for router in [routed, nested] {
        for (method, status) in [(Method::GET, 405), (Method::POST, 404)] {
            let request = Request::builder().method(method).uri(UNKNOWN_TOKEN).body(Body::empty()).unwrap();
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status);
        }
    }
    let stats = notifier.stats();
    assert_eq!((stats.refused(RefusalReason::Method), stats.refused(RefusalReason::UnknownToken)), (2, 2));

    receiver.close();
    let router: Router = Router::new().route_service("/foreman/{token}", receiver);
    let response = router.oneshot(Request::post(UNKNOWN_TOKEN).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
}
