//! Keys with two places, as in hardware: a power cut at any step of a renewal leaves the device a usable pair, and the key of the
//! replaced certificate is removed.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::Error;
use dps_device::certificate::{
    CertificateOptions, Credential, CredentialFile, CredentialStore, KeyKind, KeyPair, KeySource,
    RenewalPlace, StoredCredentials,
};
use dps_types::sas::SignError;
use tokio::sync::Notify;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::certificates::{World, play, request};
use super::peer::HubPeer;

#[tokio::test]
async fn a_power_cut_at_any_step_of_a_renewal_leaves_a_usable_pair() {
    for cut in 1.. {
        let world = World::new().await;
        let places = Places::default();
        let mut device = world.boot(options(&world, &places, &Power::default()));
        play(&mut device, world.accept()).await;
        drop(device);
        assert_eq!(places.used(), ["place 1"]);
        let (first, _) = world.stored().await;

        world.pass(26);
        let power = Power::lost_after(cut);
        let mut device = world.boot(options(&world, &places, &power));
        let renewed = play(&mut device, async {
            tokio::select! {
                () = power.lost.notified() => false,
                _ = renew(&world) => true,
            }
        })
        .await;
        drop(device);
        if renewed {
            assert_eq!(
                places.used(),
                ["place 2"],
                "the key of the first certificate is removed"
            );
            assert!(cut > 6, "{cut}");
            break;
        }
        // The power is back: the device completes the renewal, with the places that there are.
        let (current, next) = world.stored().await;
        let is_issued = current != first || next.is_some();
        let mut device = world.boot(options(&world, &places, &Power::default()));
        play(&mut device, async {
            match is_issued {
                true => drop(HubPeer::accept(&world.hub).await),
                false => drop(renew(&world).await),
            }
        })
        .await;
        assert_eq!(
            world.dps.seen().len(),
            1,
            "cut {cut}: no second registration"
        );
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_at_a_start_keeps_its_place() {
    let world = World::new().await;
    let places = Places::default();
    let mut device = world.boot(options(&world, &places, &Power::default()));
    play(&mut device, world.accept()).await;
    drop(device);
    // The hardware does not find the key at this start. It may find it at the next one.
    places.remove("place 1");
    let mut device = world.boot(options(&world, &places, &Power::default()));
    play(&mut device, world.accept()).await;
    drop(device);
    assert_eq!(places.used(), ["place 2"]);
}

#[tokio::test]
async fn a_key_that_does_not_answer_at_a_start_is_tried_again() {
    let world = World::new().await;
    let places = Places::default();
    let mut device = world.boot(options(&world, &places, &Power::default()));
    play(&mut device, world.accept()).await;
    drop(device);
    let key = places.contents();
    // The hardware is busy twice, and the device connects with its certificate when it answers.
    let busy = Arc::new(AtomicUsize::new(2));
    let mut keys = keys(&places);
    keys.busy = busy.clone();
    let mut device = world.boot(CertificateOptions::new(world.store(), keys));
    play(&mut device, HubPeer::accept(&world.hub)).await;
    assert_eq!(busy.load(Ordering::SeqCst), 0);
    assert_eq!(places.contents(), key);
    assert_eq!(world.dps.seen().len(), 1, "no second registration");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_leads_to_no_new_key() {
    let world = World::new().await;
    let places = Places::default();
    let mut device = world.boot(options(&world, &places, &Power::default()));
    play(&mut device, world.accept()).await;
    drop(device);
    let key = places.contents();
    // The disk fails twice, and the device connects with its certificate when it works again.
    let loads = Arc::new(AtomicUsize::new(2));
    let mut store = Failing::new(&world);
    store.loads = loads.clone();
    let mut device = world.boot(CertificateOptions::new(store, keys(&places)));
    play(&mut device, HubPeer::accept(&world.hub)).await;
    assert_eq!(loads.load(Ordering::SeqCst), 0);
    assert_eq!(places.contents(), key);
    assert_eq!(world.dps.seen().len(), 1, "no second registration");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_stored_does_not_end_the_use_of_the_stored_one() {
    for failures in [1, 4, usize::MAX] {
        let world = World::new().await;
        let places = Places::default();
        let mut device = world.boot(options(&world, &places, &Power::default()));
        play(&mut device, world.accept()).await;
        drop(device);
        let first = world.stored().await;

        world.pass(26);
        let mut store = Failing::new(&world);
        store.saves = AtomicUsize::new(failures);
        let mut device = world.boot(CertificateOptions::new(store, keys(&places)));
        play(&mut device, async {
            let _peer = renew(&world).await;
            while failures < usize::MAX && places.used() != ["place 2"] {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        drop(device);
        if failures < usize::MAX {
            // The certificate was stored when the hub had accepted it, or later.
            assert_ne!(world.stored().await, first);
            assert_eq!(places.used(), ["place 2"]);
        } else {
            assert_eq!(world.stored().await, first);
            assert_eq!(places.used(), ["place 1", "place 2"]);
        }
        let mut device = world.boot(options(&world, &places, &Power::default()));
        play(&mut device, HubPeer::accept(&world.hub)).await;
        assert_eq!(world.dps.seen().len(), 1, "no second registration");
    }
}

#[tokio::test]
async fn no_certificate_is_requested_while_the_store_is_not_writable() {
    for place in [RenewalPlace::Hub, RenewalPlace::Dps] {
        let world = World::new().await;
        let places = Places::default();
        let mut device = world.boot(options(&world, &places, &Power::default()));
        play(&mut device, world.accept()).await;
        drop(device);
        let first = places.contents();

        world.pass(26);
        let checks = Arc::new(AtomicUsize::new(1));
        let mut store = Failing::new(&world);
        store.checks = checks.clone();
        let options = CertificateOptions::new(store, keys(&places)).with_renewal_at(place);
        let mut device = world.boot(options);
        play(&mut device, async {
            let _peer = HubPeer::accept(&world.hub).await;
            while checks.load(Ordering::SeqCst) > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        drop(device);
        assert_eq!(places.contents(), first, "{place:?}: no key was generated");
        assert_eq!(world.dps.seen().len(), 1, "{place:?}: no registration");
    }
}

/// The hub issues a certificate, and accepts the device with it.
async fn renew(world: &World) -> HubPeer {
    let mut peer = HubPeer::accept(&world.hub).await;
    let request = request(&mut peer).await;
    world.issue(&mut peer, &request).await;
    world.accept().await.0
}

fn keys(places: &Places) -> Keys {
    Keys {
        places: places.clone(),
        power: Power::default(),
        busy: Arc::default(),
    }
}

fn options(world: &World, places: &Places, power: &Power) -> CertificateOptions {
    let store = Store {
        file: world.store(),
        power: power.clone(),
    };
    let keys = Keys {
        places: places.clone(),
        power: power.clone(),
        busy: Arc::default(),
    };
    CertificateOptions::new(store, keys)
}

/// The power of a device: it fails after a number of steps, and nothing happens from then on.
#[derive(Debug, Clone)]
struct Power {
    left: Arc<AtomicUsize>,
    lost: Arc<Notify>,
}

impl Default for Power {
    fn default() -> Self {
        Self::lost_after(usize::MAX)
    }
}

impl Power {
    fn lost_after(steps: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(steps)),
            lost: Arc::default(),
        }
    }

    /// The end of a step.
    async fn step(&self) {
        let left = &self.left;
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        match before {
            Ok(2..) => {}
            _ => {
                self.lost.notify_one();
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The private keys at two places. They survive the restarts of the device.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Places {
    fn used(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Debug)]
struct Keys {
    places: Places,
    power: Power,
    /// The number of times that no key can be opened.
    busy: Arc<AtomicUsize>,
}

#[async_trait]
impl KeySource for Keys {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let mut names = ["place 1", "place 2"].into_iter();
        let name = names.find(|name| !in_use.contains(name)).unwrap();
        self.places.remove(name);
        self.power.step().await;
        let key = KeyPair::generate(KeyKind::P256)?;
        let pkcs8 = key.pkcs8().unwrap().to_vec();
        self.places.0.lock().unwrap().insert(name.to_owned(), pkcs8);
        self.power.step().await;
        Ok((Zeroizing::new(name.to_owned()), key))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        if Failing::count_down(&self.busy).is_err() {
            return Err(SignError::new("the hardware is busy").into());
        }
        let pkcs8 = self.places.0.lock().unwrap().get(name).cloned();
        match pkcs8 {
            Some(pkcs8) => KeyPair::from_pkcs8(Zeroizing::new(pkcs8)),
            None => Err(SignError::new("there is no key").into()),
        }
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        Ok(self.places.used().into_iter().map(Zeroizing::new).collect())
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.places.remove(name);
        self.power.step().await;
        Ok(())
    }
}

#[derive(Debug)]
struct Store {
    file: CredentialFile,
    power: Power,
}

#[async_trait]
impl CredentialStore for Store {
    async fn load(&self) -> io::Result<StoredCredentials> {
        self.file.load().await
    }

    async fn save_next(&self, credential: &Credential) -> io::Result<()> {
        self.power.step().await;
        self.file.save_next(credential).await?;
        self.power.step().await;
        Ok(())
    }

    async fn confirm_next(&self) -> io::Result<()> {
        self.power.step().await;
        self.file.confirm_next().await?;
        self.power.step().await;
        Ok(())
    }

    async fn clear(&self) -> io::Result<()> {
        self.file.clear().await
    }
}

/// A store whose loads, saves and checks fail a number of times.
#[derive(Debug)]
struct Failing {
    file: CredentialFile,
    loads: Arc<AtomicUsize>,
    saves: AtomicUsize,
    checks: Arc<AtomicUsize>,
}

impl Failing {
    fn new(world: &World) -> Self {
        Self {
            file: world.store(),
            loads: Arc::default(),
            saves: AtomicUsize::new(0),
            checks: Arc::default(),
        }
    }

    fn count_down(failures: &AtomicUsize) -> io::Result<()> {
        let count_down = |left: usize| left.checked_sub(1);
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) {
            Ok(_) => Err(io::Error::other("the disk does not answer")),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl CredentialStore for Failing {
    async fn load(&self) -> io::Result<StoredCredentials> {
        Self::count_down(&self.loads)?;
        self.file.load().await
    }

    async fn check_writable(&self, in_use: &[&str]) -> io::Result<()> {
        assert_eq!(in_use, ["place 1"]);
        Self::count_down(&self.checks)?;
        self.file.check_writable(in_use).await
    }

    async fn save_next(&self, credential: &Credential) -> io::Result<()> {
        Self::count_down(&self.saves)?;
        self.file.save_next(credential).await
    }

    async fn confirm_next(&self) -> io::Result<()> {
        self.file.confirm_next().await
    }

    async fn clear(&self) -> io::Result<()> {
        self.file.clear().await
    }
}
