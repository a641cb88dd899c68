//! What goes on while others and we look: a disk that is written, packets over the loopback, sockets in several states,
//! a process that has ended and was not waited for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::lab::LoopDevice;

/// Bytes of the disk.
const DISK: u64 = 16 << 20;
/// Connections that stay open.
const CONNECTIONS: usize = 7;
/// Bytes of memory taken.
const MEMORY: usize = 64 << 20;

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    disk: Arc<LoopDevice>,
    zombie: Child,
    _image: tempfile::NamedTempFile,
    _sockets: Sockets,
    _memory: Vec<u8>,
}

struct Sockets {
    _listener: TcpListener,
    _kept: Vec<TcpStream>,
}

impl Load {
    pub(crate) fn start() -> std::io::Result<Self> {
        let mut image = tempfile::NamedTempFile::new()?;
        image.write_all(&vec![1; DISK as usize])?;
        image.as_file().sync_all()?;
        let disk = Arc::new(LoopDevice::over(image.path())?);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = vec![
            until(&stop, {
                let disk = Arc::clone(&disk);
                let mut block = 0;
                move || {
                    disk.direct_write(block * 4096 % DISK).expect("written");
                    block += 1;
                    if block.is_multiple_of(4) {
                        disk.direct_reads_from(block * 4096 % (DISK / 2), 1).expect("read");
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }),
            until(&stop, {
                let to = UdpSocket::bind("127.0.0.1:0")?;
                let from = UdpSocket::bind("127.0.0.1:0")?;
                from.connect(to.local_addr()?)?;
                let mut packet = [0; 1000];
                move || {
                    from.send(&packet).expect("sent");
                    let _ = to.recv(&mut packet);
                    thread::sleep(Duration::from_millis(1));
                }
            }),
        ];
        let zombie = Command::new("true").stdout(Stdio::null()).spawn()?;
        let sockets = Sockets::open()?;
        let memory = vec![1; MEMORY];
        Ok(Self { stop, threads, disk, zombie, _image: image, _sockets: sockets, _memory: memory })
    }

    /// Name of the disk.
    pub(crate) fn disk(&self) -> &str {
        self.disk.name()
    }
}

/// Does it again and again until that says so.
fn until(stop: &Arc<AtomicBool>, mut work: impl FnMut() + Send + 'static) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            work();
        }
    })
}

impl Sockets {
    /// Connections that are open, that their other side has closed, and that were closed on both sides.
    fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut kept = Vec::new();
        for number in 0..CONNECTIONS {
            let near = TcpStream::connect(listener.local_addr()?)?;
            let (mut far, _) = listener.accept()?;
            match number {
                0..3 => kept.extend([near, far]),
                // The far side closes: CLOSE_WAIT here, FIN_WAIT2 there.
                3..5 => {
                    far.shutdown(std::net::Shutdown::Write)?;
                    kept.extend([near, far]);
                }
                _ => {
                    drop(near);
                    far.read_to_end(&mut Vec::new())?;
                }
            }
        }
        Ok(Self { _listener: listener, _kept: kept })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let _ = self.zombie.wait();
    }
}
