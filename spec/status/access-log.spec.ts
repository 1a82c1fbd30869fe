import { mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { silentLog } from '../../lib/config/log.js';
import type { ConnectionRecord } from '../../lib/relay/engine.js';
import { AccessLog, AccessLogError } from '../../lib/status/access-log.js';

const record: ConnectionRecord = {
  startedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  durationMs: 12,
  servicePort: { namespace: 'default', service: 'web', port: 'http', protocol: 'TCP' },
  client: '192.0.2.7:40000',
  listener: '10.0.0.1:30080',
  backend: '10.244.0.5:80',
  bytesUp: 3,
  bytesDown: 4,
  attempts: 2,
  outcome: 'closed',
};

describe('the access log', () => {
  let dir: string;
  let path: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    path = join(dir, 'access.log');
  });

  afterEach(async () => {
    await rm(dir, { recursive: true });
  });

  async function lines(file = path): Promise<readonly Record<string, unknown>[]> {
    const whole = await readFile(file, 'utf8');
    expect(whole === '' || whole.endsWith('\n')).to.equal(true);
    return whole
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  it('refuses a file that it cannot open, naming the flag and the file (C1)', async () => {
    const error = await new AccessLog({ path: join(dir, 'no', 'x'), log: silentLog }).start().catch((e: unknown) => e);
    expect(error).to.be.instanceOf(AccessLogError);
    expect(error).to.include({ code: 'ENOENT' });
    expect(String(error)).to.contain(`--access-log: ${JSON.stringify(join(dir, 'no', 'x'))}: expected a file`);
  });

  it('appends one JSON line a connection (H5)', async () => {
    await writeFile(path, '{"earlier":true}\n');
    const accessLog = new AccessLog({ path, log: silentLog });
    await accessLog.start();
    accessLog.write(record);
    accessLog.write({ ...record, durationMs: 3.664197999999942, outcome: 'dial-failed', backend: '' });
    await accessLog.stop();
    const [earlier, first, second] = await lines();
    expect(earlier).to.deep.equal({ earlier: true });
    expect(first).to.deep.equal({
      time: '2026-01-02T03:04:05.678Z',
      namespace: 'default',
      service: 'web',
      port: 'http',
      protocol: 'TCP',
      durationMs: 12,
      client: '192.0.2.7:40000',
      listener: '10.0.0.1:30080',
      backend: '10.244.0.5:80',
      bytesUp: 3,
      bytesDown: 4,
      attempts: 2,
      outcome: 'closed',
    });
    expect(second).to.include({ outcome: 'dial-failed', backend: '' });
  });

  it('is not readable by everybody when it is new: clients stand in it', async () => {
    const accessLog = new AccessLog({ path, log: silentLog });
    await accessLog.start();
    await accessLog.stop();
    expect((await stat(path)).mode & 0o007).to.equal(0);
  });

  it('keeps the order and loses nothing of a burst', async () => {
    const accessLog = new AccessLog({ path, log: silentLog });
    await accessLog.start();
    for (let bytesUp = 0; bytesUp < 5_000; bytesUp++) accessLog.write({ ...record, bytesUp });
    await accessLog.stop();
    expect((await lines()).map((line) => line['bytesUp'])).to.deep.equal(Array.from({ length: 5_000 }, (_, n) => n));
    expect(accessLog.dropped).to.equal(0);
  });

  it('goes on in a new file after the old one was moved away (Y6)', async () => {
    const accessLog = new AccessLog({ path, log: silentLog });
    await accessLog.start();
    for (let bytesUp = 0; bytesUp < 100; bytesUp++) accessLog.write({ ...record, bytesUp });
    await rename(path, `${path}.1`);
    await accessLog.reopen();
    for (let bytesUp = 100; bytesUp < 200; bytesUp++) accessLog.write({ ...record, bytesUp });
    await accessLog.stop();
    const all = [...(await lines(`${path}.1`)), ...(await lines())];
    expect(all.map((line) => line['bytesUp'])).to.deep.equal(Array.from({ length: 200 }, (_, n) => n));
    expect((await lines()).length).to.be.at.least(100);
  });

  it('keeps the old file where a new one cannot be opened', async () => {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
    const accessLog = new AccessLog({ path, log });
    await accessLog.start();
    await rename(dir, `${dir}-moved`);
    await accessLog.reopen();
    accessLog.write(record);
    await accessLog.stop();
    await rename(`${dir}-moved`, dir);
    expect(await lines()).to.have.length(1);
    expect(warnings).to.have.length(1);
  });

  it('rejects a file that cannot be opened, at start', async () => {
    const failure = await new AccessLog({ path: join(path, 'below-a-file'), log: silentLog })
      .start()
      .catch((error: unknown) => error);
    expect(failure).to.include({ code: 'ENOENT' });
  });

  it('drops and counts records beyond its buffer while the reader is stuck (H5)', async () => {
    const release: (() => void)[] = [];
    const written: string[] = [];
    const stdout = new Writable({
      write: (chunk, _encoding, done) => {
        written.push(String(chunk));
        release.push(done);
      },
    });
    const accessLog = new AccessLog({ path: '-', log: silentLog, stdout, maxBufferedLength: 1_000 });
    await accessLog.start();
    for (let n = 0; n < 100; n++) accessLog.write(record);
    const kept = 100 - accessLog.dropped;
    expect(accessLog.dropped).to.be.above(90);
    const stopped = accessLog.stop();
    const finish = setInterval(() => release.shift()?.(), 1);
    await stopped;
    clearInterval(finish);
    expect(written.join('').split('\n')).to.have.length(kept + 1);
  });

  it('counts records that could not be written, and goes on', async () => {
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done(new Error('gone')) });
    const accessLog = new AccessLog({ path: '-', log: silentLog, stdout });
    await accessLog.start();
    accessLog.write(record);
    await accessLog.stop();
    expect(accessLog.dropped).to.equal(1);
  });
});
