// Downstream of Vedette: how many alerts each entity has in each minute of event time.
// It also drops repeats, as a reader of the mode low_latency must: by the header vedette-id and the model.
//
//   java -cp 'LIBS/*:OUT' CountAlerts SERVERS APPLICATION_ID ALERTS COUNTS

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

public final class CountAlerts {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration MINUTE = Duration.ofMinutes(1);
    private static final Duration LATE = Duration.ofMinutes(30); // later alerts are not counted
    private static final Duration REMEMBERED = Duration.ofMinutes(30); // of event time: repeats that are older are let through
    private static final String SEEN = "seen";

    public static void main(String[] words) throws InterruptedException {
        run(words[0], words[1], topology(words[2], words[3]));
    }

    static Topology topology(String alerts, String counts) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.windowStoreBuilder(
            Stores.persistentWindowStore(SEEN, REMEMBERED, REMEMBERED, false), Serdes.String(), Serdes.Long()));
        builder.stream(alerts, Consumed.with(Serdes.String(), Serdes.ByteArray()).withTimestampExtractor(new EventTime()))
            .processValues(DropRepeats::new, SEEN)
            .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray())) // the key is the entity already
            .windowedBy(TimeWindows.ofSizeAndGrace(MINUTE, LATE))
            .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("alerts-per-minute").withCachingDisabled())
            .toStream()
            .map((entity, count) -> KeyValue.pair(entity.key(), written(entity.key(), entity.window().startTime(), count)))
            .to(counts, Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    /** When the event was known, out of the alert; when the alert was produced, where it does not say. */
    static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long before) {
            try {
                JsonNode verdict = JSON.readTree((byte[]) record.value()).path("verdict");
                return Instant.parse(verdict.path("event_time").asText()).toEpochMilli();
            } catch (IOException | RuntimeException problem) {
                return record.timestamp();
            }
        }
    }

    /** Lets the first copy of an alert through. State belongs to the partition; a repeat has the same key, so it comes here too. */
    static final class DropRepeats implements FixedKeyProcessor<String, byte[], byte[]> {
        private FixedKeyProcessorContext<String, byte[]> context;
        private WindowStore<String, Long> seen;

        @Override
        public void init(FixedKeyProcessorContext<String, byte[]> context) {
            this.context = context;
            this.seen = context.getStateStore(SEEN);
        }

        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            Header id = record.headers().lastHeader("vedette-id");
            if (id == null) {
                return; // not written by Vedette
            }
            String alert = new String(id.value(), StandardCharsets.UTF_8) + " " + model(record.value());
            Instant at = Instant.ofEpochMilli(record.timestamp()); // the event's time: a copy has the same
            try (var copies = seen.fetch(alert, at, at)) {
                if (copies.hasNext()) {
                    return;
                }
            }
            seen.put(alert, 1L, record.timestamp());
            context.forward(record);
        }

        private static String model(byte[] alert) {
            try {
                return JSON.readTree(alert).path("verdict").path("model").asText();
            } catch (IOException problem) {
                return "";
            }
        }
    }

    private static String written(String entity, Instant minute, long alerts) {
        try {
            return JSON.writeValueAsString(Map.of("entity", entity, "minute", minute.toString(), "alerts", alerts));
        } catch (JsonProcessingException problem) {
            throw new IllegalStateException(problem);
        }
    }

    private static void run(String servers, String id, Topology topology) throws InterruptedException {
        Properties settings = new Properties();
        settings.putAll(Map.of(
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, servers,
            StreamsConfig.APPLICATION_ID_CONFIG, id,
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2, // it reads committed records only
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100,
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));
        var over = new CountDownLatch(1);
        try (KafkaStreams streams = new KafkaStreams(topology, settings)) {
            streams.setUncaughtExceptionHandler(problem -> {
                problem.printStackTrace();
                over.countDown();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
            streams.start();
            over.await();
        }
    }
}
