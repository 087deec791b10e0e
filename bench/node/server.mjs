// The usual Node stack for Shopify webhooks, written as its documentation says: @shopify/shopify-app-express verifies,
// BullMQ takes the job. With a database file it stores the request first, durably, as Dastak does.
//
//   node server.mjs <port> <redis port> <processes> [database]

import cluster from 'node:cluster';

import {ApiVersion, DeliveryMethod, LogSeverity} from '@shopify/shopify-api';
import {shopifyApp} from '@shopify/shopify-app-express';
import {MemorySessionStorage} from '@shopify/shopify-app-session-storage-memory';
import {Queue} from 'bullmq';
import express from 'express';

const [port, redisPort, processes, database] = process.argv.slice(2);

async function storeIn(file) {
  const {default: Database} = await import('better-sqlite3');
  const db = new Database(file, {timeout: 30000});
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec(`CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, shop TEXT NOT NULL, webhook_id TEXT NOT NULL, topic TEXT NOT NULL, body TEXT NOT NULL,
    received_at TEXT NOT NULL, UNIQUE (shop, webhook_id))`);
  const insert = db.prepare(
    `INSERT INTO deliveries (shop, webhook_id, topic, body, received_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO NOTHING`,
  );
  return (shop, webhookId, topic, body) => insert.run(shop, webhookId, topic, body, new Date().toISOString());
}

async function serve() {
  const store = database ? await storeIn(database) : () => {};
  const queue = new Queue('orders', {connection: {host: '127.0.0.1', port: Number(redisPort)}});
  const shopify = shopifyApp({
    api: {
      apiKey: process.env.SHOPIFY_API_KEY,
      apiSecretKey: process.env.SHOPIFY_API_SECRET,
      apiVersion: ApiVersion.July26,
      scopes: ['write_orders'],
      hostScheme: 'http',
      hostName: `127.0.0.1:${port}`,
      logger: {level: LogSeverity.Error}, // its default writes lines for every webhook, which would cost it speed
    },
    auth: {path: '/api/auth', callbackPath: '/api/auth/callback'},
    webhooks: {path: '/webhooks/stores/shopify'},
    sessionStorage: new MemorySessionStorage(),
  });
  const webhookHandlers = {
    ORDERS_CREATE: {
      deliveryMethod: DeliveryMethod.Http,
      callbackUrl: '/webhooks/stores/shopify',
      callback: async (topic, shop, body, webhookId) => {
        store(shop, webhookId, topic, body);
        await queue.add(topic, {shop, body}, {jobId: `${shop}-${webhookId}`});
      },
    },
  };
  const app = express();
  app.post(shopify.config.webhooks.path, shopify.processWebhooks({webhookHandlers}));
  app.get('/health/ready', (_request, response) => response.send('ready'));
  await queue.waitUntilReady();
  app.listen(Number(port), '127.0.0.1');
}

if (cluster.isPrimary && Number(processes) > 1) {
  for (let i = 0; i < Number(processes); i++) cluster.fork();
  process.on('SIGTERM', () => process.exit(0)); // the others go with the channel to this one
} else {
  process.on('SIGTERM', () => process.exit(0));
  process.on('disconnect', () => process.exit(0));
  await serve();
}
